"""DICOM files of a made-up photograph."""

import io

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from tests.helpers.pictures import lesion_like

PICTURE = lesion_like(0).crop((0, 0, 96, 70))
PIXELS = np.asarray(PICTURE)


def dicom(pixels: bytes, syntax: str = uid.ExplicitVRLittleEndian, **changes) -> bytes:
    """A file of a dermoscopic photograph with a patient's name and dates; a change to None leaves an element out."""
    elements = dict(
        SOPClassUID=uid.DermoscopicPhotographyImageStorage,
        SOPInstanceUID="1.2.3.4711",
        PatientName="Doe^Jane",
        PatientID="PID-4711",
        PatientBirthDate="19610203",
        StudyDate="20240506",
        InstitutionName="Clinic^Name",
        ImageComments="Nevus^of^Doe",
        Modality="XC",
        Rows=PICTURE.height,
        Columns=PICTURE.width,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        PixelData=pixels,
    )
    dataset = Dataset()
    for name, value in {**elements, **changes}.items():
        if value is not None:
            setattr(dataset, name, value)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW" if dataset.BitsAllocated == 16 else "OB"
        dataset["PixelData"].is_undefined_length = uid.UID(syntax).is_encapsulated
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def jpeg(picture: Image.Image = PICTURE, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **{"quality": 95, **options} if kind == "JPEG" else options)
    return file.getvalue()


def encapsulated(stream: bytes, syntax: str = uid.JPEGBaseline8Bit, **changes) -> bytes:
    return dicom(encapsulate([stream]), syntax, **{"PhotometricInterpretation": "YBR_FULL_422", **changes})
