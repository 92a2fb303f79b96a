//! The bucket table and the packet decision of a farm, in which all nodes serve at once.
//!
//! Nothing is here yet. `ha_core` does not depend on this crate until the machine exists.
#![no_std]
#![forbid(unsafe_code)]
