//! The worker of Errand: claims runs and drives the tool loop.
