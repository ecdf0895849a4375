"""What a driver watches for while runs run: signals, silence, and what workers have to say."""
