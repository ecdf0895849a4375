for (const table of document.querySelectorAll('table.sortable')) {
  table.querySelectorAll('th').forEach((th, i) => {
    const button = document.createElement('button');
    button.className = 'sort';
    button.textContent = th.textContent;
    th.replaceChildren(button);
    button.onclick = () => {
      const up = th.getAttribute('aria-sort') === 'descending';
      table.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
      th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const text = cell => cell.textContent === '\u2013' ? '' : cell.textContent;
      const key = row => row.cells[i].dataset.value ?? text(row.cells[i]);
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === '' || y === '') return (x === '') - (y === '');
        const by = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return up ? by : -by;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
    };
  });
}
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(d => d.open = true));
