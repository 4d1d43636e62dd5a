"""Texts that are put together elsewhere in the package, where nobody knows of languages, and that the page says again
in the visitor's: errors, the titles of defences and attacks, and the words of plots. Each place matches anything.

No one uses them but who translates: ``say_again`` finds them among what is translated.
"""

from purifier.attacks import ATTACKS
from purifier.defences import FAMILIES

ERRORS = (
    # pictures/files.py
    "There is no picture at {path}.",
    "This is not a picture that can be read. Use a JPEG, PNG, WebP, TIFF or BMP file, or DICOM.",
    "The picture is too large; at most 50 megapixels are read.",
    "The picture is damaged or cut off and cannot be read ({reason}).",
    "The picture has {width} x {height} pixels; at most 50 megapixels are read.",
    "The picture has {width} x {height} pixels; each side must have at least {least}.",
    "The file holds {count} pictures (an animation or pages); exactly 1 is read.",
    "The file has {megabytes} MB; at most {most} MB are read.",
    # bmp.py, metadata.py, tiff.py
    "The picture holds {bits}-bit values, of unknown range. Save it with 8 or 16 bits a channel.",
    "The picture holds {bits}-bit floating-point values, of unknown range. Save it with 8 or 16 bits a channel.",
    "The picture holds signed values, of unknown range. Save it with 8 or 16 bits a channel.",
    "The JPEG picture is {kind} ({bits} bits, {channels} channels), which is not read. Save it as a usual JPEG or as "
    "a PNG file.",
    "lossless",
    "hierarchical",
    "unusual",
    "The PNG picture's colours are coded for HDR screens ({name}), which is not read. Save it as sRGB.",
    "The TIFF picture's compression is {name}, which is not read. Save it uncompressed or as a PNG file.",
    "The TIFF picture's colours are coded as {name}, which is not read. Save it as RGB.",
    "a transparency mask",
    "a camera's raw values",
    "other inks",
    "depths",
    "The TIFF picture's layout is not read: {what} ({channels} channels of {bits} bits). Save it as RGB with 8 or 16 "
    "bits a channel, or as a PNG file.",
    "complex numbers",
    "channels of different sizes",
    "too few channels for its colours",
    "colours that several pixels share in this way",
    "YCbCr or CIELab of these bits",
    "YCbCr with unusual coefficients",
    "differences between such values",
    "its compression with such colours, planes or bits",
    "The BMP picture has {bits} bits a pixel and compression {number}, which is not read. Save it as a PNG file.",
    # dicom.py
    "DICOM files need pydicom: pip install pydicom. Or save the picture as a JPEG or PNG file.",
    "The DICOM file is damaged or cut off and cannot be read.",
    "The DICOM file's class is {name}; only photographs, dermoscopic photographs and secondary captures are read.",
    "The DICOM picture's compression is {name}, which is not read. Export it uncompressed, or as JPEG Baseline.",
    "The DICOM file holds {count} pictures; exactly 1 is read.",
    "The DICOM picture has {count} bits a value; 8 and 16 are read.",
    "The DICOM picture holds signed values, of unknown range. Export it with 8 bits a channel.",
    "The DICOM picture's colours are coded in a way that is not read. Export it as RGB.",
    "The DICOM file does not say how its pixels are compressed: its TransferSyntaxUID is missing or unknown. Export "
    "it uncompressed, or as JPEG Baseline.",
    "The DICOM picture's colours are {photometric}, which is not read in the compression {name}. Export it as RGB.",
    # isic_archive.py, more_pictures.py
    "{id} is not an id of the ISIC Archive. Write one like ISIC_0024306, or its number.",
    "Nothing is fetched from the ISIC Archive, since PURIFIER_OFFLINE is 1.",
    "The ISIC Archive has no public picture {id}. Check the number.",
    "The ISIC Archive was asked too often. Wait a minute and try again.",
    "The ISIC Archive answered with an error ({status}). Try again later.",
    "The ISIC Archive did not answer in time. Try again later.",
    "The ISIC Archive could not be reached. Check the network and try again.",
    "The ISIC Archive's file is too large; at most {megabytes} MB are read.",
    "The ISIC Archive's answer about {id} is not what this program knows. Update it.",
    "The ISIC Archive names no licence for {id}, so it is not used. Choose another picture.",
    "The ISIC Archive keeps {id} at an address that is not public, so it is not fetched.",
    "Give the number of a picture, such as ISIC_0024306.",
    # take_away.py
    "These settings have values that the page has no controls for. Use the command purifier report.",
    "{classifier} does not know the diagnosis {diagnosis}.",
    # pipeline.py, attacks.py, runs.py
    "scales must be some of {scales} in that order, with 1 among them, and are {chosen}.",
    "{name} must be a whole number of at least 1, and is {value}.",
    "{name} must lie between {least} and {most}, and is {value}.",
    "method must be one of {methods}, and is {method}.",
    "The target must be one of {labels}, and is {target}.",
    "Epsilon is {value}/255. A picture's values are whole numbers of 1/255, so with less than 1/255 nothing can "
    "change.",
    "An attack has at least 1 step, and this one {count}.",
    "{name} must be a whole number from {low} to {high}, and is {value}.",
    "These are not the settings of a run: {reason}",
    # classifiers.py, transformers_models.py, session.py, api.py
    "No picture was given.",
    "Folders cannot be opened from the page. Choose a bundled classifier or 'hf-hub:owner/name'.",
    "There is no bundled classifier {name} (there are: {names}). Write 'hf-hub:owner/name' for a repository of the "
    "Hugging Face Hub or 'local-dir:path' for a folder.",
    "The weights of {source} do not fit its config.json: {reason}",
    "{source} is not in timm's format: its config.json must name one of timm's architectures.",
    "{source} is not a classifier: it has {count} classes.",
    "{source} is a transformers model and not an image classifier: it names {kind}.",
    "{source} is in the format of the transformers library, which is not installed: pip install "
    '"lesion-purifier[transformers]".',
    "{source} cannot read a picture ({reason}). Check global_pool, num_classes and model_args in its config.json.",
    "{source} gives {shape} for one picture, and must give {wanted}. Check global_pool, num_classes and "
    "model_args in its config.json.",
    "{source} gives NaN or infinite values for a grey picture, so its weights are broken.",
    "The {name} of {source} must be a dict.",
    "lesion_purifier in the config.json of {source} holds what is not known: {reason}",
    "There is no folder {folder}.",
    "{file} is a file: name the folder that holds config.json and the weights.",
    "{file} cannot be opened: {reason}.",
    # labels.py
    "{source} has {count} classes, and its {key} are {names}.",
    "The {key} of {source} must be names, and are {names}.",
    "The {key} of {source} name more than one output {names}.",
    "The {key} of {source} must name the outputs by number, and is {names}.",
    "The {key} of {source} must number its outputs from 0 to {last}, and numbers them {numbers}.",
    # preparation.py, transformers_models.py
    "{source} resizes pictures by {interpolation}; known are {known}. Write one of them as interpolation into "
    "its config.json.",
    "The crop_mode of {source} must be one of {modes}, and is {mode}.",
    "{source} states {value} as its crop_pct, which must be a number from 0.1 to 2.",
    "The input_size of {source} must be channels, height and width, at most {largest}, and is {size}.",
    "{source} takes pictures of {count} channels, and these have 3.",
    "The {name} of {source} must be 3 finite numbers, and is {value}.",
    "The preprocessor_config.json of {source} cannot be used: {reason}",
    "The image processor of {source} ({kind}, {interpolation} resampling) prepares pictures in a way that is not "
    "known here, so its readings would not be the model's own.",
    # weights.py
    "{source} has no model.safetensors. Weights in pickle files ({files}) are not loaded, since opening one can "
    "run any code; ask the owner to publish safetensors.",
    "{source} has no model.safetensors, and weights in other formats ({files}) are not read; ask the owner to "
    "publish safetensors.",
    "{source} has no model.safetensors and no other file of weights.",
    "{source} has several files of weights ({files}): rename the right one to model.safetensors.",
    "{source} has parts of weights ({files}) without model.safetensors.index.json, which says what they hold.",
    "{source} lacks {files}, named in its {index}.",
    "{index} of {source} is not an index of safetensors: {reason}",
    "{index} of {source} names {file}, which is no safetensors file beside it.",
    "The weights of {source} hold NaN or infinite values in {names}.",
    "The weights of {source} are of types that are not read: {names}. Save them as float32, float16 or bfloat16.",
    "{file} of {source} is a pointer of Git LFS: fetch the file itself with `git lfs pull`.",
    "{file} of {source} is a pickle under another name, and pickles are not opened.",
    # hub.py
    "The weights of {repository} have {size} GB; at most 1 GB is downloaded.",
    "{repository} is not a repository name: write 'hf-hub:owner/name'.",
    "{repository} is gated: its owners must grant you access. Ask for it on its page, then set HF_TOKEN or run "
    "`hf auth login`.",
    "There is no repository {repository} on the Hub, or it is private: then set HF_TOKEN or run `hf auth login`.",
    "{repository} has no revision {revision}.",
    "The Hub could not be reached, and {repository} has not been downloaded before. Check the network, or choose a "
    "bundled classifier.",
    "{source} has no config.json: it is not a classifier in timm's format.",
    "{source} has no preprocessor_config.json: the size and scale of its pictures are not known.",
    "The {file} of {source} is not valid JSON ({reason}).",
    "The {file} of {source} must hold an object in braces, and holds {kind}.",
    "{file} of {source} is too large for an index; at most 10 MB are downloaded.",
    "The download of {repository} from the Hub failed: the Hub does not accept your token (401). To log in, set "
    "HF_TOKEN or run `hf auth login`.",
    "The download of {repository} from the Hub failed: your token has no permission for it (403). Use another: set "
    "HF_TOKEN or run `hf auth login`.",
    "The download of {repository} from the Hub failed: {reason} Check the network and try again.",
)
DEFENCES = (  # defences.py, evaluation/art.py
    "nothing",
    "ART's SpatialSmoothing, {number} pixels a side",
    "ART's TotalVarMin, lambda {number}",
    "MDDA, noise {number}/255",
    *(family.title.replace("{:g}", "{number}") for family in FAMILIES.values()),
    *(family.short for family in FAMILIES.values()),
)
ATTACKERS = (  # evaluation/attackers.py
    *(f"{method.title} ({{number}})" for method in ATTACKS.values()),
    "no attack",
    "PGD ({number}), melanoma to nevus",
    "PGD ({number}) on another network",
    "PGD through the defence ({steps} steps of {samples} samples)",
    "BPDA through the defence ({steps} steps of {samples} samples)",
    "PGD, the noise known ({steps} steps)",
    "PGD through a stand-in for the defence ({steps} steps)",
    "Square ({number} queries)",
    "Square on the defence ({number} queries)",
)
PLOTS = (  # figures.py
    "accuracy, 95 % interval",
    "epsilon, in 1/255",
    "{attack}: oblivious attacker",
    "{attack}: adaptive attacker",
    "the strongest attack: adaptive attacker",
    "accuracy through MDDA,\nadaptive attacker",
    "steps",
    "samples of the noise at each step",
    "steps, of {samples} samples, {eps}/255",
    "samples, in {steps} steps, {eps}/255",
    "cycles a picture",
    "strength, in 1/255",
)
MESSAGES = ERRORS + DEFENCES + ATTACKERS + PLOTS
