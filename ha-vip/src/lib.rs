//! The virtual addresses of a node as one state machine: take, keep, announce, release, conflict.
//!
//! Nothing is here yet. A mirror pair runs without it: its application answers on the address of
//! whichever node serves. `ha_core` does not depend on this crate until the machine exists.
#![no_std]
#![forbid(unsafe_code)]
