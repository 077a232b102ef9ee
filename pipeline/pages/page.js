document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});
for (const button of document.querySelectorAll("button[data-file]")) {
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.download = button.dataset.file;
    link.href = URL.createObjectURL(new Blob([button.dataset.text], { type: "text/plain" }));
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
