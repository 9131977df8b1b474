"""Jobs, sensors, schedules, and the runs that they request."""
