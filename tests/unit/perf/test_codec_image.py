"""Whether memory is shared is read from the kernel's list of mappings."""

import mmap

from lunar_perf.codec_image import address_of, lies_in_shared_memory


def test_private_memory_is_not_shared() -> None:
    private = memoryview(bytearray(10_000))
    assert not lies_in_shared_memory(address_of(private), private.nbytes)


def test_shared_memory_is_shared_to_its_last_byte_and_no_further() -> None:
    with mmap.mmap(-1, 2 * mmap.PAGESIZE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) as area, memoryview(area) as shared:
        address = address_of(shared)
        assert lies_in_shared_memory(address, shared.nbytes)
        with shared[100:200].toreadonly() as part:
            assert address_of(part) == address + 100
        assert not lies_in_shared_memory(address, 1 << 40)
