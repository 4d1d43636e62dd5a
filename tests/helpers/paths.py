"""Where tests find things."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("ISIC2019", ROOT.parent / "shared" / "data" / "isic2019"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
