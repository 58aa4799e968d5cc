"""How the HTML report looks: light, dark, on paper and on a phone; colour only repeats words."""

_LIGHT = (
    "--page:#f6f7f9;--card:#fff;--text:#1b1f24;--soft:#57606a;--edge:#d8dde3;--now:#0b5cad;"
    "--before:#8c959f;--good:#1a6b3c;--warn:#8a5300;--bad:#b3261e"
)
_DARK = (
    "--page:#0f1419;--card:#171d24;--text:#e6e9ed;--soft:#a0aab4;--edge:#303842;--now:#6cb2ff;"
    "--before:#7d8894;--good:#6fcf97;--warn:#f0b94d;--bad:#ff8a80"
)

STYLE = (
    ":root{color-scheme:light dark;"
    + _LIGHT
    + "}@media (prefers-color-scheme:dark){:root{"
    + _DARK
    + """}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);line-height:1.5;
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
header,main,footer{max-width:1320px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:28px;line-height:1.2;margin:0;letter-spacing:-.01em}
h2{font-size:19px;margin:0 0 12px}
h3{font-size:15px;margin:18px 0 6px;overflow-wrap:anywhere}
p{margin:6px 0}.soft,figcaption,footer{color:var(--soft)}
.brand{font-weight:700;letter-spacing:.02em;margin:0 0 2px;color:var(--now)}
.skip{position:absolute;left:-999px}.skip:focus{left:12px;top:8px}
a{color:var(--now)}:focus-visible{outline:2px solid var(--now);outline-offset:2px}
nav ul{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;padding:0;margin:14px 0 20px}
.card{background:var(--card);border:1px solid var(--edge);border-radius:10px;
padding:18px 20px;margin:0 0 18px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(134px,1fr));gap:12px;margin:0}
.tiles div{border:1px solid var(--edge);border-radius:8px;padding:10px 14px}
dt{color:var(--soft);font-size:13px}
dd{margin:0;font-size:22px;font-weight:650;font-variant-numeric:tabular-nums;line-height:1.3}
dd small{display:block;font-size:12px;font-weight:400;color:var(--soft)}
.state{list-style:none;padding:0;margin:0 0 16px;display:flex;flex-wrap:wrap;gap:8px 22px}
.badge{display:inline-block;border:1px solid currentColor;border-radius:99px;padding:0 9px;
font-size:12px;font-weight:650;white-space:nowrap}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.routes{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:12px}
.routes article{border:1px solid var(--edge);border-radius:8px;padding:12px 14px;min-width:0}
.routes h3{margin:0}.routes svg{max-width:160px}
.pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:0 26px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{padding:6px 8px;border-bottom:1px solid var(--edge);text-align:right;vertical-align:top;
white-space:nowrap}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
tbody th{font-weight:600}th.w,td.w{text-align:left}
td.s{text-align:left;white-space:normal;min-width:240px;overflow-wrap:anywhere}
th.w,td.w{max-width:340px;overflow-wrap:anywhere}
tbody tr:last-child>*{border-bottom:0}
.says{margin:12px 0 0;padding-left:20px}.says li{overflow-wrap:anywhere}
figure{margin:0 0 14px;min-width:0}figcaption{font-size:13px;margin-bottom:4px}
svg{display:block;width:100%;height:auto;font:12px system-ui,"DejaVu Sans",sans-serif}
.wide svg{min-width:640px}
text{fill:var(--soft)}.small{font-size:11px}.grid{stroke:var(--edge);fill:none}
path.now{fill:var(--now)}path.before{fill:var(--before)}path.bad{fill:var(--bad)}
.line{fill:none;stroke:var(--now);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.high{stroke:var(--soft);stroke-dasharray:5 4}
.whisker{stroke:var(--text);stroke-width:2}.level{stroke:var(--warn);stroke-width:2}
.key{display:inline-block;margin-right:16px;white-space:nowrap}
.key i{display:inline-block;width:11px;height:11px;margin-right:6px;border-radius:2px}
i.now{background:var(--now)}i.before{background:var(--before)}i.bad{background:var(--bad)}
i.key-line{height:0;width:16px;border-radius:0;border-top:2px solid var(--now);
vertical-align:middle}
i.high{border-top:2px dashed var(--soft)}i.whisker{border-color:var(--text)}
i.level{border-color:var(--warn)}
details{margin:2px 0 8px}summary{cursor:pointer;color:var(--now);font-size:13px}
footer{font-size:13px;padding-bottom:36px}
@media (max-width:600px){header,main,footer{padding-left:12px;padding-right:12px}
.card{padding:14px 12px}h1{font-size:23px}.tiles{grid-template-columns:1fr 1fr}dd{font-size:18px}
.told thead{display:none}.told tr{display:block;padding:8px 0;border-bottom:1px solid var(--edge)}
.told tr:last-child{border-bottom:0}
.told tbody :is(th,td){display:grid;grid-template-columns:7em 1fr;gap:8px;border:0;padding:2px 0;
text-align:left;white-space:normal;max-width:none;min-width:0}
.told [data-name]::before{content:attr(data-name);color:var(--soft);font-weight:400}
.told .badge{justify-self:start}}
@media print{:root{"""
    + _LIGHT
    + """;--page:#fff;color-scheme:light}
@page{margin:12mm}body{font-size:10pt}header,main,footer{max-width:none;padding:0}
nav,.skip,details{display:none}.card{border:0;border-top:1px solid var(--edge);border-radius:0;
padding:10px 0;margin:0}.scroll{overflow:visible}.wide svg{min-width:0}
table{font-size:7.5pt}th,td{padding:3px 5px;white-space:normal}thead{display:table-header-group}
td.s{min-width:0}tr,figure,.tiles div,.routes article{break-inside:avoid}
h2,h3,figcaption{break-after:avoid}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""
)
