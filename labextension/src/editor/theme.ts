/** Whether the page around is light or dark: our own state colours need to be read on either. */

import { useEffect, type RefObject } from 'react';

export function useTheme(box: RefObject<HTMLElement | null>): void {
  useEffect(() => {
    const root = box.current!;
    const look = () => {
      root.dataset['theme'] = isDark(getComputedStyle(root).backgroundColor) ? 'dark' : 'light';
    };
    look();
    // Lab and VS Code change theme by attributes, or by loading another style sheet some time later
    const observer = new MutationObserver(look);
    observer.observe(document.body, { attributes: true });
    observer.observe(document.documentElement, { attributes: true });
    document.head.addEventListener('load', look, true);
    const preference = matchMedia('(prefers-color-scheme: dark)');
    preference.addEventListener('change', look);
    return () => {
      observer.disconnect();
      document.head.removeEventListener('load', look, true);
      preference.removeEventListener('change', look);
    };
  }, [box]);
}

function isDark(color: string): boolean {
  const [red = 255, green = 255, blue = 255] = (color.match(/[\d.]+/g) ?? []).map(Number);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 128;
}
