//! The chat page in Chromium, over the whole of Errand.
