"""Who is there, and who matches whom."""
