"""What every room stands on: processes, files, storage, seeds, memory and the form of errors."""
