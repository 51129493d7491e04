// Applies the light or dark theme before the first paint, so it is a classic script: modules run too late.
// Without a stored choice, the style sheet follows the system setting.
(() => {
  const KEY = 'errand.theme';
  const apply = (theme) => {
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  try { apply(localStorage.getItem(KEY)); } catch { /* Storage is blocked. */ }
  addEventListener('storage', (event) => { if (event.key === KEY) apply(event.newValue); });
  globalThis.errandTheme = {
    isDark: () => (document.documentElement.dataset.theme
      ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark',
    toggle() {
      const theme = this.isDark() ? 'light' : 'dark';
      apply(theme);
      try { localStorage.setItem(KEY, theme); } catch { /* The choice lasts until the page is closed. */ }
    },
  };
})();
