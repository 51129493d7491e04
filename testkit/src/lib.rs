//! Real services and builders for the tests.
