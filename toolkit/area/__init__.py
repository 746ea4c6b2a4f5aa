"""Where and when: the outline, the output grid and its tiles, the season."""
