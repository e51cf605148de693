// A page opened as a file may not fetch other pages: list the search results without their summaries there.
if (window.location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
