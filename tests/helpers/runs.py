"""A small evaluation."""

TIMES = ["seconds", "attack_seconds"]


OPTIONS = (
    "--split all --limit 20 --seed 4 --attacks pgd2 eot1x2 --eps 4 --defences none noise8 jpeg30 --draws 2".split()
)
