// Plain text tables.

export type Align = 'left' | 'right'

/** Columns padded to their widest cell, two spaces apart, a rule below the head; no trailing blanks. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], align: readonly Align[] = []): string {
  const widths = head.map((title, column) => Math.max(...[head, ...rows].map((row) => width(row[column] ?? ''))))
  const line = (row: readonly string[]): string => widths.map((size, column) => {
    const cell = row[column] ?? ''
    const blanks = ' '.repeat(size - width(cell))
    return align[column] === 'right' ? blanks + cell : cell + blanks
  }).join('  ').trimEnd()
  return [line(head), widths.map((size) => '─'.repeat(size)).join('  '), ...rows.map(line)].join('\n')
}

/** Characters, not UTF-16 units: × and ≤ count as one. */
function width(text: string): number {
  return [...text].length
}

export type Unit = 'ms' | 's' | '/s' | 'MiB/s' | 'MiB' | 'B' | 'IOPS' | 'count'

/** A value with three significant digits and its unit: `0.725 ms`, `1,850 /s`. */
export function quantity(value: number, unit: Unit): string {
  if (Number.isNaN(value)) return '–'
  return unit === 'count' ? digits(value) : `${digits(value)} ${unit}`
}

export function digits(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? '–' : '∞'
  const size = Math.abs(value)
  if (size >= 100) return Math.round(value).toLocaleString('en-US')
  if (size === 0) return '0'
  return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3)
}
