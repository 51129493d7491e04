// Light or dark, before anything is painted. A classic script: modules run too late for that.
// Without a choice of the user's the system's counts, which the style sheet asks by itself.
(() => {
  const KEY = 'errand.theme';
  const apply = (theme) => {
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  try { apply(localStorage.getItem(KEY)); } catch { /* A browser that keeps nothing. */ }
  addEventListener('storage', (event) => { if (event.key === KEY) apply(event.newValue); });
  globalThis.errandTheme = {
    isDark: () => (document.documentElement.dataset.theme
      ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark',
    toggle() {
      const theme = this.isDark() ? 'light' : 'dark';
      apply(theme);
      try { localStorage.setItem(KEY, theme); } catch { /* Then for this page only. */ }
    },
  };
})();
