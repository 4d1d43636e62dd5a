"""Where the files that come with the package lie: weights, example pictures and measurements."""

from pathlib import Path

_HERE = Path(__file__).parent
# An installed package holds them; in a checkout, and installed editable from it, they lie beside the package.
ASSETS = _HERE / "assets" if (_HERE / "assets").is_dir() else _HERE.parent / "assets"
