import type { UsageRow } from '../../api/operations/volume.ts';
import { formatTable, type Column } from '../lib/table.ts';
import { formatBytes } from '../lib/units.ts';
import type { Figures } from './figures.ts';

export const orders = ['name', 'requests', 'traffic', 'cpu', 'memory'] as const;
export type Order = (typeof orders)[number];

export interface View {
  readonly vo: string;
  /** Time of day. */
  readonly time: string;
  readonly interval_s: number;
  readonly figures: readonly Figures[];
  readonly volumes: readonly (UsageRow & { readonly volume: string; readonly owner: string })[];
  readonly order: Order;
  /** Above the tables; the reason why something is missing, for instance. */
  readonly message: string;
}

/**
 * The whole picture as lines. With `height` the tables share so many lines: what does not fit is counted in words, and volumes give way first.
 * `emphasis`: the headings of the tables are bold, and what is down stands out.
 */
export function render(view: View, width: number | undefined, height: number | undefined, emphasis = false): readonly string[] {
  const bold = (line: string): string => (emphasis ? `\x1b[1m${line}\x1b[m` : line);
  const servers = sorted(view.figures.filter(({ server }) => server !== 'mount'), view.order);
  const clients = sorted(view.figures.filter(({ server }) => server === 'mount'), view.order);
  const volumes = view.order === 'name' ? view.volumes : view.volumes.toSorted((a, b) => b.bytes - a.bytes);
  const down = view.figures.filter(({ up }) => !up).length;
  const head = [cut(`${view.vo}  ${view.time}  rates over ${view.interval_s.toFixed(1)} s  sorted by ${view.order}${down > 0 ? `  ${down} NOT UP` : ''}`, width), ...(view.message === '' ? [] : [cut(view.message, width)])];
  const tables = [
    { title: 'server', lines: table(serverColumns, servers, width) },
    { title: 'client', lines: table(clientColumns, clients, width) },
    { title: 'volume', lines: table(volumeColumns, volumes, width) },
  ].filter(({ lines }) => lines.length > 1);
  const room = height === undefined ? Infinity : height - head.length - tables.length;
  const shares = share(tables.map(({ lines }) => lines.length), room);
  return [...head, ...tables.flatMap(({ title, lines }, at) => ['', ...fit(lines, shares[at] ?? 0, title).map((line, row) => (row === 0 || / DOWN, /.test(line) ? bold(line) : line))])].slice(0, height);
}

/** Lines for each table: none gets more than it needs, and what one leaves goes to the others; the first ones come first. */
function share(needs: readonly number[], room: number): readonly number[] {
  const given = needs.map((need) => Math.min(need, 3));
  let left = room - given.reduce((sum, each) => sum + each, 0);
  for (const [at, need] of needs.entries()) {
    const more = Math.max(0, Math.min(need - (given[at] ?? 0), left));
    given[at] = (given[at] ?? 0) + more;
    left -= more;
  }
  return given;
}

function fit(lines: readonly string[], room: number, what: string): readonly string[] {
  if (lines.length <= room) return lines;
  const hidden = lines.length - room + 1;
  return [...lines.slice(0, room - 1), `… ${hidden} more ${what}${hidden === 1 ? '' : 's'}`];
}

const cut = (text: string, width: number | undefined): string => (width === undefined || text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`);

function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width: number | undefined): readonly string[] {
  return formatTable(columns, rows, width).trimEnd().split('\n').map((line) => cut(line, width));
}

function sorted(rows: readonly Figures[], order: Order): readonly Figures[] {
  const ranks = ['dir', 'mrc', 'osd', 'mount', '-'];
  const byName = (a: Figures, b: Figures): number => a.node.localeCompare(b.node, 'en', { numeric: true }) || ranks.indexOf(a.server) - ranks.indexOf(b.server);
  const value = (row: Figures): number => ({
    name: 0, requests: row.requests_per_s ?? 0, traffic: (row.read_bytes_per_s ?? 0) + (row.written_bytes_per_s ?? 0), cpu: row.cpu_share ?? 0, memory: row.memory_bytes ?? 0,
  })[order];
  return rows.toSorted((a, b) => value(b) - value(a) || byName(a, b));
}

const absent = '-';
/** Of one width as long as figures are usual ones: columns that move with every picture cannot be read. */
const or = <T>(value: T | null, format: (value: T) => string): string => (value === null ? absent : format(value)).padStart(5);
const perSecond = (value: number): string => (value < 99.95 ? value.toFixed(1) : `${Math.round(value)}`);
const percent = (value: number): string => `${Math.round(value * 100)}%`;

/** `16us`, `1.0ms`, `2.1s`: bounds of buckets, so that more digits would say nothing. */
export function formatDuration(ms: number): string {
  if (ms === Infinity) return '>4s';
  if (ms < 0.9995) return `${Math.round(ms * 1000)}us`;
  return ms < 999.5 ? `${ms < 9.95 ? ms.toFixed(1) : Math.round(ms)}ms` : `${(ms / 1000).toFixed(1)}s`;
}

const common: readonly Column<Figures>[] = [
  { title: 'REQ/S', value: (row) => or(row.requests_per_s, perSecond), align: 'right' },
  { title: 'P95', value: (row) => or(row.p95_ms, formatDuration), align: 'right' },
  { title: 'READ/S', value: (row) => or(row.read_bytes_per_s, formatBytes), align: 'right' },
  { title: 'WRITE/S', value: (row) => or(row.written_bytes_per_s, formatBytes), align: 'right' },
  { title: 'OPEN', value: (row) => or(row.open_files, String), align: 'right' },
];
const process: readonly Column<Figures>[] = [
  { title: 'CPU', value: (row) => or(row.cpu_share, percent), align: 'right' },
  { title: 'MEM', value: (row) => or(row.memory_bytes, formatBytes), align: 'right' },
  { title: 'NOTES', value: (row) => (row.up ? row.notes : ['DOWN', ...row.notes]).join(', '), flexible: true },
];
const serverColumns: readonly Column<Figures>[] = [
  { title: 'NODE', value: (row) => row.node }, { title: 'SERVER', value: (row) => row.server }, ...common,
  { title: 'FREE', value: (row) => or(row.free_bytes, formatBytes), align: 'right' }, ...process,
];
const clientColumns: readonly Column<Figures>[] = [
  { title: 'NODE', value: (row) => row.node }, { title: 'CLIENT', value: (row) => row.server }, ...common,
  { title: 'MRC/S', value: (row) => or(row.mrc_calls_per_s, perSecond), align: 'right' },
  { title: 'HITS', value: (row) => or(row.hit_share, percent), align: 'right' }, ...process,
];
const limit = (value: number, format: (value: number) => string): string => (value === 0 ? absent : format(value));
const volumeColumns: readonly Column<View['volumes'][number]>[] = [
  { title: 'VOLUME', value: (row) => row.volume }, { title: 'OWNER', value: (row) => row.owner },
  { title: 'USED', value: (row) => formatBytes(row.bytes), align: 'right' }, { title: 'LIMIT', value: (row) => limit(row.bytes_max, formatBytes), align: 'right' },
  { title: 'FILES', value: (row) => `${row.files}`, align: 'right' }, { title: 'LIMIT', value: (row) => limit(row.files_max, String), align: 'right' },
];
