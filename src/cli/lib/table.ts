import { printable } from './text.ts';

export type Column<Row> = {
  readonly title: string;
  readonly value: (row: Row) => string;
  readonly align?: 'left' | 'right';
  /** This column gives way when the terminal is too narrow; it keeps at least 8 columns. */
  readonly flexible?: boolean;
};

/**
 * A table as text, two blanks between columns. On a terminal (`width` given) flexible columns are cut with `…` so that a row stays
 * one line; into a pipe or file nothing is cut.
 */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width: number | undefined): string {
  const cells = rows.map((row) => columns.map((column) => printable(column.value(row))));
  const widths = columns.map((column, index) => Math.max(column.title.length, ...cells.map((line) => [...(line[index] ?? '')].length)));
  if (width !== undefined) shrink(columns, widths, width);
  const lines = [columns.map((column) => column.title), ...cells].map((line) =>
    line.map((cell, index) => fit(cell, widths[index] ?? 0, columns[index]?.align === 'right')).join('  ').trimEnd());
  return lines.join('\n') + '\n';
}

/** The width to fit a table to: that of a terminal, or undefined when the stream is none. */
export function tableWidth(stream: { readonly isTTY?: boolean; readonly columns?: number }): number | undefined {
  return stream.isTTY ? stream.columns ?? 80 : undefined;
}

function shrink<Row>(columns: readonly Column<Row>[], widths: number[], width: number): void {
  let surplus = widths.reduce((sum, each) => sum + each + 2, -2) - width;
  for (const [index, column] of columns.entries()) {
    const now = widths[index] ?? 0;
    if (!column.flexible || surplus <= 0) continue;
    const narrow = Math.max(8, column.title.length, now - surplus);
    if (narrow >= now) continue;
    surplus -= now - narrow;
    widths[index] = narrow;
  }
}

function fit(cell: string, width: number, right: boolean): string {
  const characters = [...cell];
  const text = characters.length > width ? `${characters.slice(0, width - 1).join('')}…` : cell;
  const blanks = ' '.repeat(Math.max(0, width - characters.length));
  return right ? blanks + text : text + blanks;
}
