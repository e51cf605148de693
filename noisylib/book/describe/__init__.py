"""What chapters show: tables, facts for the text, and wording that follows the numbers."""
