//! The five to-do tools: their specifications and their execution.
