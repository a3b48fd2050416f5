/**
 * Returns a text that a terminal shows and does not obey: control characters other than tabs and
 * ends of lines become `\u001b` and the like, as JSON writes them. Text from a guest passes through
 * here before it is shown.
 */
export function printable(text: string): string {
  return text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about.
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
