"""What two papers claim, measured on our rows: claims, criteria, verdicts, and the page that shows them."""
