//! The worker over real services: see each file's name.
