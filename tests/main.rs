//! The one integration test binary.

mod emulator;
