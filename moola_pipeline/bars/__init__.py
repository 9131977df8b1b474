"""One-minute bars: vendor files, validation, registration, contract rolls and the bar table."""
