import type { ChaosReport } from './chaos.ts';

/** The figures, one a line. */
export function tableOf({ rounds, kills, cases, effects, repeats, seconds }: ChaosReport): string {
  const rows: [string, Readonly<Record<string, number>>][] = [
    ['kills', kills],
    ['cases', cases],
    ['effects', effects],
    ['repeats', repeats],
  ];
  const lines = rows.map(([name, counts]) => {
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const parts = Object.entries(counts).map(([kind, count]) => `${kind} ${count}`);
    return `${name.padEnd(8)} ${String(total).padStart(6)}  ${parts.join(', ')}`;
  });
  return [`rounds   ${String(rounds).padStart(6)}`, ...lines, `seconds  ${seconds.toFixed(1).padStart(6)}`].join('\n');
}

/** What is broken, and how to see it again. */
export function failuresOf({ failures }: ChaosReport, seed: string, cases: number): string {
  return failures
    .map(({ round, problems }) =>
      [
        `round ${round} is broken:`,
        ...problems.map((problem) => `  ${problem}`),
        `again: npm run chaos -- --seed ${seed} --first ${round} --rounds 1 --cases ${cases}`,
      ].join('\n'),
    )
    .join('\n');
}
