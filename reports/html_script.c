/* html_script.c: what the page can do with scripts on: uPlot takes the place of the day's pictures, to zoom and to read values. */
#include "html.h"

#include "uplot_assets.h"

static const char script[] =
    "(function(){\n"
    "  var data=JSON.parse(document.getElementById('day-data').textContent);\n"
    "  if(typeof uPlot==='undefined'||!data.charts.length)return;\n"
    "  var plots=document.querySelectorAll('.plot'),made=[];\n"
    "  function colour(name){return getComputedStyle(document.documentElement).getPropertyValue('--'+name).trim()}\n"
    "  function two(n){return(n<10?'0':'')+n}\n"
    "  function clock(t,seconds){var d=new Date(Math.round(t*1000));\n"
    "    return two(d.getUTCHours())+':'+two(d.getUTCMinutes())+(seconds?':'+two(d.getUTCSeconds()):'')}\n"
    "  function day(t){var n=Math.floor(t/86400)-Math.floor(data.start/86400);return n>0?n+' d ':''}\n"
    "  function short(v,bytes){var u=['','k','M','G','T'],i=0;if(v==null)return'';\n"
    "    if(bytes||v>=1e6){while(v>=1000&&i<4){v/=1000;i++}return+v.toPrecision(3)+' '+(bytes&&i===1?'k':u[i])+(bytes?'B':'')}\n"
    "    return v>=1000?Math.round(v).toLocaleString('en'):''+ +v.toPrecision(3)}\n"
    "  function background(u){\n"
    "    var c=u.ctx,b=u.bbox;c.save();c.beginPath();c.rect(b.left,b.top,b.width,b.height);c.clip();\n"
    "    data.bands.forEach(function(band){\n"
    "      var x=u.valToPos(data.start+band[0],'x',true),x2=u.valToPos(data.start+band[1],'x',true);\n"
    "      c.fillStyle=colour(band[3]?'band-out':'band');c.fillRect(x,b.top,x2-x,b.height);\n"
    "      c.fillStyle=colour('dim');c.font=11*devicePixelRatio+'px system-ui';c.textAlign='left';\n"
    "      if(x2-x>c.measureText(band[2]).width)c.fillText(band[2],x+4,b.top+12*devicePixelRatio);\n"
    "    });\n"
    "    c.restore();\n"
    "  }\n"
    "  function foreground(u){\n"
    "    var c=u.ctx,b=u.bbox,r=7*devicePixelRatio;c.save();c.beginPath();c.rect(b.left,b.top,b.width,b.height);c.clip();\n"
    "    data.marks.forEach(function(mark,i){\n"
    "      var x=u.valToPos(data.start+mark[0],'x',true);\n"
    "      c.strokeStyle=colour('dim');c.setLineDash([3,4]);c.beginPath();c.moveTo(x,b.top);c.lineTo(x,b.top+b.height);c.stroke();c.setLineDash([]);\n"
    "      c.fillStyle=colour('ink');c.beginPath();c.arc(x,b.top+b.height-r,r,0,7);c.fill();\n"
    "      c.fillStyle=colour('paper');c.font='bold '+10*devicePixelRatio+'px system-ui';c.textAlign='center';c.textBaseline='middle';\n"
    "      c.fillText(i+1,x,b.top+b.height-r);\n"
    "    });\n"
    "    c.restore();\n"
    "  }\n"
    "  function axis(more){return Object.assign({stroke:function(){return colour('dim')},grid:{stroke:function(){return colour('grid')},width:1},\n"
    "    ticks:{stroke:function(){return colour('line')},width:1},font:'11px system-ui'},more)}\n"
    "  function columns(chart){\n"
    "    var out=[chart.at.map(function(t){return data.start+t})];\n"
    "    chart.series.forEach(function(one){out.push(one.mean);if(one.high)out.push(one.high,one.low)});\n"
    "    return out;\n"
    "  }\n"
    "  function lines(chart){\n"
    "    var out=[{label:'time',value:function(u,t){return t==null?'--':day(t)+clock(t,true)}}];\n"
    "    chart.series.forEach(function(one,n){\n"
    "      var stroke=function(){return colour('c'+n)},faint=function(){return colour('c'+n)+'66'};\n"
    "      out.push({label:one.name,stroke:stroke,width:1.5,dash:n%2?[6,4]:undefined,fill:chart.filled&&n===0?function(){return colour('c0')+'22'}:undefined,\n"
    "        points:{show:false},value:function(u,v,s,i){if(v==null)return'--';\n"
    "          return short(v,chart.bytes)+(one.high&&i!=null?' ('+short(one.low[i],chart.bytes)+' to '+short(one.high[i],chart.bytes)+')':'')}});\n"
    "      if(one.high)out.push({stroke:faint,width:.6,points:{show:false},class:'unnamed'},{stroke:faint,width:.6,points:{show:false},class:'unnamed'});\n"
    "    });\n"
    "    return out;\n"
    "  }\n"
    "  function bands(chart){\n"
    "    var out=[],at=1;\n"
    "    chart.series.forEach(function(one,n){\n"
    "      if(one.high)out.push({series:[at+1,at+2],fill:function(){return colour('c'+n)+'33'}});\n"
    "      at+=one.high?3:1;\n"
    "    });\n"
    "    return out;\n"
    "  }\n"
    "  function make(){\n"
    "    made.forEach(function(u){u.destroy()});made=[];\n"
    "    data.charts.forEach(function(chart,i){\n"
    "      var box=plots[i],still=box.querySelector('svg.chart');still.style.display='none';\n"
    "      made.push(new uPlot({width:box.clientWidth,height:210,tzDate:function(t){return uPlot.tzDate(new Date(t*1000),'UTC')},\n"
    "        cursor:{sync:{key:'day'},points:{size:6}},legend:{live:true},\n"
    "        scales:{x:{time:true,min:data.start,max:data.start+data.duration},y:{range:function(u,low,high){return[0,high>0?high*1.15:1]}}},\n"
    "        axes:[axis({values:function(u,ticks,a,b,step){return ticks.map(function(t){return step>=86400?'day '+(1+parseInt(day(t)||'0')):clock(t,step<60)})}}),\n"
    "          axis({size:64,values:function(u,ticks){return ticks.map(function(v){return short(v,chart.bytes)})}})],\n"
    "        hooks:{drawClear:[background],draw:[foreground]},\n"
    "        bands:bands(chart),series:lines(chart)},columns(chart),box));\n"
    "    });\n"
    "    document.documentElement.classList.add('scripted');\n"
    "  }\n"
    "  make();\n"
    "  var wait;addEventListener('resize',function(){clearTimeout(wait);wait=setTimeout(function(){\n"
    "    made.forEach(function(u,i){u.setSize({width:plots[i].clientWidth,height:210})})},80)});\n"
    "  matchMedia('(prefers-color-scheme: dark)').addEventListener('change',make);\n"
    "})();\n";

void html_library_style(struct page *page)
{
    page_bytes(page, uplot_css, uplot_css_length);
    page_add(page, "\n");
}

void html_script(struct page *page)
{
    page_add(page, "<script>");
    page_bytes(page, uplot_js, uplot_js_length);
    page_add(page, "</script>\n<script>\n");
    page_add(page, script);
    page_add(page, "</script>\n");
}
