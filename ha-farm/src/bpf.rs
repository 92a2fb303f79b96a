//! The filter in BPF: [`Filter::examine`](crate::Filter::examine) once more, for the Linux kernel.
//!
//! `bpf/filter.c` is its source and `bpf/layout.h` says what its maps hold; `bpf/build` compiles
//! them to the object that is embedded here, and with `--check` says whether it is theirs.

/// The compiled object, an ELF file, for a loader of BPF: the programs `ha_farm_tc` and
/// `ha_farm_xdp`, and an empty one of each, for measuring.
pub fn object() -> &'static [u8] {
    &OBJECT.0
}

/// Readers of ELF files look at whole words.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!("../bpf/filter.o"));
