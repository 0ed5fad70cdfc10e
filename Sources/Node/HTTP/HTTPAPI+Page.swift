/// `GET /`: the page for people. One file, no script from elsewhere, nothing but the API behind it.
extension HTTPAPI {
    func page(_ call: HTTPCall) throws(Problem) -> HTTPReply {
        try allow(call, ["GET", "HEAD"])
        var reply = HTTPReply.text(HTTPAPI.document, type: "text/html; charset=utf-8")
        reply.headers.append(
            .init(
                "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                    + "connect-src 'self'; base-uri 'none'; form-action 'none'"))
        return reply
    }

    private static let document = #"""
        <!doctype html>
        <html lang="en"><head><meta charset="utf-8"><title>Quipu</title>
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <style>
        body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
               padding: 0 1rem; color: #222; background: #fdfcf9 }
        h1 { font-weight: 600 } table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
        th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd }
        input, select, button { font: inherit; padding: .25rem .5rem; margin: 0 .4rem .4rem 0 }
        td.number { text-align: right; font-variant-numeric: tabular-nums }
        .down { color: #a00 } .bar { background: #b5652b; height: .7rem; display: block }
        #error { color: #a00 }
        </style></head><body>
        <h1>Quipu</h1>
        <p id="who"></p>
        <table><thead><tr><th>State</th><th>Node</th><th>HTTP</th><th>Owns</th><th>Rack</th>
        <th>Votes</th></tr></thead><tbody id="nodes"></tbody></table>
        <h2>Count</h2>
        <form id="form">
        <input name="type" placeholder="type" value="*" size="12" required>
        <input name="key" placeholder="key" size="24" required>
        <input name="from" placeholder="from (-1d)" size="14">
        <input name="to" placeholder="to (now)" size="14">
        <select name="step"><option>1h<option>1m<option>1d<option>all</select>
        <select name="consistency"><option>QUORUM<option>ONE<option>ALL
        <option>LOCAL_QUORUM<option>LOCAL_ONE</select>
        <button>Count</button>
        </form>
        <p id="error"></p><p id="total"></p>
        <table><tbody id="windows"></tbody></table>
        <p><a href="/openapi.json">openapi.json</a> · <a href="/metrics">metrics</a></p>
        <script>
        const get = id => document.getElementById(id);
        const row = cells => {
          const tr = document.createElement("tr");
          for (const [text, name] of cells) {
            const td = document.createElement("td");
            td.textContent = text; if (name) td.className = name; tr.append(td);
          }
          return tr;
        };
        async function nodes() {
          try {
            const answer = await (await fetch("/v1/cluster")).json();
            get("who").textContent = `cluster ${answer.cluster}, as seen by ${answer.as_seen_by}`;
            get("nodes").replaceChildren(...answer.nodes.map(n => row([
              [n.state, n.state[0] === "U" ? "" : "down"], [n.name], [n.http],
              [(n.owns * 100).toFixed(1) + " %"], [`${n.dc}/${n.rack}`],
              [n.voting ? "yes" : "no"]])));
          } catch (error) { get("who").textContent = `no answer: ${error}`; }
        }
        get("form").addEventListener("submit", async event => {
          event.preventDefault();
          const form = new FormData(event.target), query = new URLSearchParams();
          for (const name of ["from", "to", "step", "consistency"])
            if (form.get(name)) query.set(name, form.get(name));
          get("error").textContent = get("total").textContent = "";
          get("windows").replaceChildren();
          const path = [form.get("type"), form.get("key")].map(encodeURIComponent).join("/");
          const reply = await fetch(`/v1/counts/${path}?${query.toString().replace(/\+/g, "%20")}`);
          const answer = await reply.json();
          if (!reply.ok) { get("error").textContent = answer.detail; return; }
          get("total").textContent =
            `${answer.total.count} events, ${answer.consistency}, `
            + `from ${answer.replicas.join(", ")}`;
          const most = Math.max(1, ...answer.windows.map(w => w.count));
          get("windows").replaceChildren(...answer.windows.slice(-500).map(w => {
            const tr = row([[w.start], [w.count, "number"], [""]]);
            const bar = document.createElement("span");
            bar.className = "bar"; bar.style.width = `${w.count / most * 100}%`;
            tr.lastChild.append(bar); tr.lastChild.style.width = "60%";
            return tr;
          }));
        });
        nodes(); setInterval(nodes, 2000);
        </script></body></html>
        """#
}
