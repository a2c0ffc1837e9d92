// Before the first paint, so that the page does not flash in the other theme.
(() => {
  let wanted = null;
  try { wanted = localStorage.getItem("insula.theme"); } catch { /* no storage: as the system has it */ }
  if (wanted === "dark" || wanted === "light") document.documentElement.dataset.theme = wanted;
})();
