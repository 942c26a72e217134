// Names the search field that Django's autocomplete adds beside a select: its own label stands on the hidden select.
// It waits as the autocomplete does, and behind it.
window.django?.jQuery?.(() => {
  for (const field of document.querySelectorAll(".select2-search__field")) {
    const label = field.closest(".form-row")?.querySelector("label");
    if (label) field.setAttribute("aria-label", label.textContent.replace(/:\s*$/, ""));
  }
});
