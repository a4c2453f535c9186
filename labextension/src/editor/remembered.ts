/** What a person has chosen for every picture, kept by their browser; where it keeps nothing, until the page is left. */

const PREFIX = 'ec-jupyter:';

export function recall(word: string): string | null {
  try {
    return localStorage.getItem(PREFIX + word);
  } catch {
    // a page without storage of its own
    return null;
  }
}

export function remember(word: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(PREFIX + word);
    else localStorage.setItem(PREFIX + word, value);
  } catch {
    // then it is forgotten with the page
  }
}
