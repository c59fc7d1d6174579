"""What people read: the screen, Markdown, the report page."""
