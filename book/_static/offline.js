// From a folder, a browser refuses to read other pages, which search does for its excerpts. It works without them.
if (window.location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
