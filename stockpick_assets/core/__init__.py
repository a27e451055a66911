"""What is true of markets, forecasts and messages: pure functions and data. No framework, vendor or clock."""
