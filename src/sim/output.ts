import type { Figures } from './experiment.ts';
import type { CycleRow, RunResult, Spent } from './run.ts';

const percent = (value: number | null): string => (value === null ? '' : `${(100 * value).toFixed(2)} %`);
const number = (value: number | null | undefined, digits = 1): string => (value === null || value === undefined ? '' : value.toFixed(digits));

const columns: readonly { readonly title: string; readonly text: (row: CycleRow) => string }[] = [
  { title: 'cycle', text: (row) => String(row.cycle) },
  { title: 'nodes', text: (row) => String(row.nodes) },
  { title: 'KiB/node', text: (row) => number(row.bytes / 1024) },
  { title: 'msgs/node', text: (row) => number(row.messages, 2) },
  { title: 'live slots', text: (row) => percent(row.live) },
  { title: 'dead links', text: (row) => percent(row.dead) },
  { title: 'connected', text: (row) => percent(row.connected) },
  { title: 'rtt error', text: (row) => percent(row.coordinate_error) },
  { title: 'full', text: (row) => (row.some === null ? '' : `${row.some.full}/${row.some.begun}`) },
  { title: 'msgs', text: (row) => number(row.some?.messages) },
  { title: 'strangers', text: (row) => number(row.some?.strangers) },
  { title: 'found dead', text: (row) => number(row.some?.dead) },
  { title: 'all found', text: (row) => percent(row.all === null || row.all.ended === 0 ? null : row.all.share) },
  { title: 'all msgs', text: (row) => number(row.all?.messages, 0) },
];

export const header = (): string => [...columns.map(({ title }) => title.padStart(10)), '     CPU s', '   B/node'].join(' ');

export function line(row: CycleRow, spent: Spent): string {
  return [...columns.map(({ text }) => text(row).padStart(10)), spent.cpu_seconds.toFixed(2).padStart(10), (spent.memory_bytes / Math.max(1, row.nodes)).toFixed(0).padStart(9)].join(' ');
}

/** One line a cycle, only what is the same for a seed. */
export function csv(result: RunResult): string {
  const names = ['cycle', 'nodes', 'bytes', 'messages', 'live', 'dead', 'connected', 'coordinate_error'] as const;
  const lines = result.cycles.map((row) => [...names.map((name) => row[name] ?? ''), row.some?.messages ?? '', row.some?.strangers ?? '', row.some === null ? '' : row.some.full / row.some.begun, row.all?.share ?? '', row.all?.messages ?? ''].join(','));
  return `${[...names, 'query_messages', 'query_strangers', 'query_full', 'all_share', 'all_messages'].join(',')}\n${lines.join('\n')}\n`;
}

const width = 640;
const height = 320;
const margin = { left: 56, right: 120, top: 28, bottom: 36 };
const colours = ['#0b5fa5', '#c2410c', '#15803d', '#7e22ce', '#b91c1c'];

interface Line {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

/** Shares over cycles as an SVG of its own, readable on white and in print. */
export function svg(result: RunResult): string {
  const series: readonly (readonly [string, (row: CycleRow) => number | null])[] = [
    ['live slots', (row) => row.live], ['dead links', (row) => row.dead], ['connected', (row) => row.connected], ['rtt error', (row) => row.coordinate_error],
    ['queries full', (row) => (row.some === null ? null : row.some.full / Math.max(1, row.some.begun))],
    ['all found', (row) => (row.all === null || row.all.ended === 0 ? null : row.all.share)],
  ];
  const lines = series.map(([name, value]): Line => ({ name, points: result.cycles.flatMap((row) => (value(row) === null ? [] : [[row.cycle, Math.min(1, value(row)!)] as const])) }))
    .filter(({ points }) => points.length > 0);
  return draw(`${result.scenario}: ${result.nodes.toLocaleString('en')} nodes, seed ${result.seed}`, lines, result.cycles.length, 'cycle');
}

export function figuresCsv({ over, columns, rows }: Figures): string {
  return `${[over, ...columns].join(',')}\n${rows.map((row, at) => [at + 1, ...row.map((value) => value ?? '')].join(',')).join('\n')}\n`;
}

export function figuresSvg({ experiment, nodes, seed, over, columns, rows, plotted }: Figures): string {
  const lines = plotted.map((name): Line => ({
    name, points: rows.flatMap((row, at) => (row[columns.indexOf(name)] === null ? [] : [[at + 1, Math.min(1, row[columns.indexOf(name)]!)] as const])),
  }));
  return draw(`${experiment}: ${nodes.toLocaleString('en')} nodes, seed ${seed}`, lines, rows.length, over);
}

function draw(title: string, lines: readonly Line[], cycles: number, over: string): string {
  const x = (cycle: number): number => margin.left + ((width - margin.left - margin.right) * cycle) / Math.max(1, cycles);
  const y = (share: number): number => height - margin.bottom - (height - margin.top - margin.bottom) * share;
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(share)}" y2="${y(share)}" stroke="#ddd"/><text x="${margin.left - 6}" y="${y(share) + 4}" text-anchor="end">${100 * share} %</text>`);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => Math.round(part * cycles)).map((cycle) => `<text x="${x(cycle)}" y="${height - 14}" text-anchor="middle">${cycle}</text>`);
  const drawn = lines.map(({ name, points }, i) => {
    const colour = colours[i % colours.length];
    const path = points.map(([cycle, share]) => `${x(cycle).toFixed(1)},${y(share).toFixed(1)}`).join(' ');
    return `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${path}"/>${points.map(([cycle, share]) => `<circle cx="${x(cycle).toFixed(1)}" cy="${y(share).toFixed(1)}" r="2" fill="${colour}"/>`).join('')}<text x="${width - margin.right + 8}" y="${margin.top + 12 + 16 * i}" fill="${colour}">${name}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11"><rect width="${width}" height="${height}" fill="#fff"/>
<text x="${margin.left}" y="16" font-size="13">${title}</text>
${[...grid, ...ticks, ...drawn].join('\n')}
<text x="${(width - margin.right + margin.left) / 2}" y="${height - 2}" text-anchor="middle">${over}</text>
</svg>
`;
}
