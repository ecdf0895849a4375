"""What every other package stands on: processes, files, storage, seeds, memory, and how errors are worded."""
