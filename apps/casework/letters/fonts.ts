import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { create, type Font } from 'fontkit';
import { unwrapWoff } from './woff.ts';

export type FontName = 'sans' | 'sans-bold' | 'arabic' | 'hebrew' | 'thai' | 'cjk' | 'unifont';

/** Where each font lies. Literal forms, so that a bundler finds the files and lays them beside the bundle. */
const locations: Readonly<Record<FontName, () => string>> = {
  sans: () => import.meta.resolve('@expo-google-fonts/noto-sans/400Regular/NotoSans_400Regular.ttf'),
  'sans-bold': () => import.meta.resolve('@expo-google-fonts/noto-sans/700Bold/NotoSans_700Bold.ttf'),
  arabic: () => import.meta.resolve('@fontsource/noto-sans-arabic/files/noto-sans-arabic-arabic-400-normal.woff'),
  hebrew: () => import.meta.resolve('@fontsource/noto-sans-hebrew/files/noto-sans-hebrew-hebrew-400-normal.woff'),
  thai: () => import.meta.resolve('@fontsource/noto-sans-thai/files/noto-sans-thai-thai-400-normal.woff'),
  cjk: () => new URL('./fonts/DroidSansFallback.ttf', import.meta.url).href,
  unifont: () => import.meta.resolve('@fontsource/unifontex/files/unifontex-latin-400-normal.woff'),
};

/** Who is asked for a character, in this order: good looks first, UnifontEX (nearly all of planes 0 and 1) last. */
const regular: readonly FontName[] = ['sans', 'arabic', 'hebrew', 'thai', 'cjk', 'unifont'];
const bold: readonly FontName[] = ['sans-bold', ...regular.slice(1)];

/** Characters that steer others and are never seen, such as joiners and variation selectors. */
const invisible = /\p{Default_Ignorable_Code_Point}/u;

const opened = new Map<FontName, Font>();

/** The font itself, read from disk on first use and kept: a letter in Latin script never touches the CJK font. */
export function openFont(name: FontName): Font {
  const known = opened.get(name);
  if (known) return known;
  const path = fileURLToPath(locations[name]());
  const file = readFileSync(path);
  const font = create(path.endsWith('.woff') ? unwrapWoff(file) : file);
  if (!('layout' in font)) throw new Error(`font "${name}": ${path} is a collection, expected a single font`);
  opened.set(name, font);
  return font;
}

/**
 * To be called before each letter. fontkit keeps every glyph with the characters it stood for when it was first used,
 * so without this a letter's bytes would depend on the letters before it. Its own way to do so, opening the fonts
 * again, takes 80 ms a letter.
 */
export function forgetGlyphs(): void {
  for (const font of opened.values()) (font as Font & { _glyphs: object })._glyphs = {};
}

/** The first font that has every visible character of the text; undefined where none has. */
export function fontFor(text: string, weight: 'regular' | 'bold'): FontName | undefined {
  const visible = [...text].filter((character) => !invisible.test(character)).map((char) => char.codePointAt(0)!);
  return (weight === 'bold' ? bold : regular).find((name) => {
    const font = openFont(name);
    return visible.every((codePoint) => font.hasGlyphForCodePoint(codePoint));
  });
}
