/** The workflow that a mail or a short message is about, by the first id in any of the texts: `WF-20250129-7K3QXM`. */
export function workflowIdIn(...texts: readonly string[]): string | undefined {
  return texts.map((text) => /\bWF-\d{8}-[A-Z0-9]+\b/.exec(text)?.[0]).find((id) => id !== undefined);
}
