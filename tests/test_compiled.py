"""How kernels are compiled."""

import numba

from skcnn._compiled import kernel


def test_kernels_work_where_no_folder_may_be_written_to(monkeypatch):
    njit = numba.njit

    def without_folder(*args, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'twice': no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(numba, "njit", without_folder)

    @kernel()
    def twice(number):
        return 2 * number

    assert twice(21) == 42
