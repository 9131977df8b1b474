"""What reruns, and when: jobs, sensors, schedules, and which assets a run would change."""
