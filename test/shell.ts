/** Returns words as one command for a shell. Each word stays one, whatever characters it has. */
export const shellCommand = (words: readonly string[]): string =>
  words.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ');
