"""What can be wrong with a PDF arrives whole from a worker process."""

from __future__ import annotations

import pickle

import pytest

from jobs.cpu import pdf_errors
from jobs.cpu.pdf_errors import NotPdf, OcrFailed, OcrMissing, PageMissing, PdfDamaged, PdfEmpty, PdfEncrypted, PdfError, PdfTooLong

ERRORS = [
    NotPdf(),
    PdfEmpty(),
    PdfEncrypted(),
    PdfDamaged("no objects"),
    PdfTooLong(6000, 5000),
    PageMissing(9, 3),
    OcrMissing(["chi_sim"]),
    OcrFailed(4, "killed"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_it_survives_pickling(error: PdfError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert again.args == error.args


def test_each_has_its_own_code() -> None:
    kinds = [kind for kind in vars(pdf_errors).values() if isinstance(kind, type) and issubclass(kind, PdfError)]
    assert len({kind.code for kind in kinds}) == len(kinds) == len(ERRORS) + 1
