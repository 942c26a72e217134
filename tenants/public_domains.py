"""Mail domains that nobody's organisation owns: everybody can have an address there.

Whoever verifies a domain needs its DNS, so this list is a second guard; it names the providers that people really use.
"""

from __future__ import annotations

PUBLIC = frozenset(
    """
    126.com 139.com 163.com 189.cn 21cn.com aim.com alice.it aliyun.com aol.com arcor.de att.net bbox.fr bellsouth.net
    bigpond.com bk.ru bluewin.ch btinternet.com centrum.cz charter.net comcast.net cox.net daum.net disroot.org
    duck.com earthlink.net email.com email.cz email.de fastmail.com fastmail.fm foxmail.com free.fr freemail.hu
    freenet.de frontier.com gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.net googlemail.com googlegroups.com
    guerrillamail.com hanmail.net hey.com hotmail.co.uk hotmail.com hotmail.de hotmail.es hotmail.fr hotmail.it
    hushmail.com icloud.com inbox.lv inbox.ru juno.com kakao.com keemail.me kolumbus.fi kpnmail.nl laposte.net
    libero.it list.ru live.be live.ca live.co.uk live.com live.com.au live.de live.fr live.it live.nl
    mac.com mail.bg mail.com mail.de mail.ee mail.ru mailbox.org mailfence.com mailinator.com me.com mindspring.com
    msn.com mweb.co.za myyahoo.com naver.com nate.com netscape.net netzero.net o2.pl ocn.ne.jp online.de online.no
    onet.pl optonline.net optusnet.com.au orange.fr outlook.com outlook.com.br outlook.de outlook.es outlook.fr
    pacbell.net pm.me poczta.onet.pl posteo.de posteo.net proton.me protonmail.ch protonmail.com qq.com rediffmail.com
    riseup.net rocketmail.com rogers.com runbox.com sapo.pt sbcglobal.net seznam.cz sfr.fr shaw.ca sina.cn sina.com
    sky.com skynet.be sohu.com startmail.com sympatico.ca t-online.de talktalk.net telenet.be telus.net temp-mail.org
    terra.com.br tin.it tiscali.it tuta.com tuta.io tutamail.com tutanota.com tutanota.de ukr.net uol.com.br verizon.net
    virgilio.it virginmedia.com vodafone.de wanadoo.fr wanadoo.nl web.de windowslive.com windstream.net wp.pl
    xtra.co.nz yahoo.ca yahoo.co.in yahoo.co.jp yahoo.co.uk yahoo.com yahoo.com.ar yahoo.com.au yahoo.com.br
    yahoo.com.mx yahoo.de yahoo.es yahoo.fr yahoo.it yandex.com yandex.ru yeah.net ymail.com yopmail.com ziggo.nl
    zoho.com zohomail.com onmicrosoft.com
    """.split()  # noqa: SIM905
)


def is_public(domain: str) -> bool:
    """Tell whether a domain, or one above it, is in the list."""
    return any(domain == one or domain.endswith(f".{one}") for one in PUBLIC)
