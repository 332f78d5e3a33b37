"""The pairs of passage and sentence that the thresholds of citations were chosen on, and how many they judge rightly.

`near` is measured: the greatest cosine of the sentence to a sentence of the passage (multilingual E5, int8, centred by language).
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from server.knowledge.citations import across_languages, parts_of, support
from tests.unit.knowledge.found import Found

ZH = {
    "apt": "软件包管理工具 apt 从 /etc/apt/sources.list 中列出的软件源下载软件包。每次安装之前应先执行 apt update 更新软件包列表。"
    "升级整个系统请使用 apt full-upgrade，它会在需要时删除冲突的软件包。下载的文件保存在 /var/cache/apt/archives 目录。",
    "leave": "学生请假三天以内由辅导员审批，三天以上七天以下由学院审批，超过七天须报教务处备案。"
    "病假须附校医院或二级甲等以上医院的诊断证明。未经批准擅自离校的，按旷课处理，累计旷课达到 50 学时的给予退学处分。",
    "ssh": "SSH 默认监听 22 端口。建议在 /etc/ssh/sshd_config 中把 PermitRootLogin 设为 no，禁止 root 用户直接登录。"
    "使用公钥认证比口令认证更安全，公钥保存在用户主目录的 .ssh/authorized_keys 文件中。修改配置后需要重新启动 sshd 服务才能生效。",
    "fund": "大学生创新项目分为国家级、市级和校级三类，国家级项目资助经费为 20000 元，市级项目资助 10000 元。"
    "经费分两次拨付，立项后拨付 60%，中期检查合格后拨付剩余部分。项目执行期一般不超过两年，不得用于支付劳务费。",
    "file": "在 Unix 系统中，一切皆文件。普通文件、目录、符号链接、设备节点和套接字都出现在同一个目录树中。"
    "符号链接指向另一个文件的路径，删除原文件后符号链接会失效；硬链接与原文件共享同一个 inode，不能跨越文件系统。",
}
EN = {
    "swap": "Swap space extends physical memory onto disk. For a desktop with 8 GB of RAM, a swap partition of 4 GB is usually enough. "
    "Hibernation needs swap at least as large as the memory in use. Use swapon to enable a swap area and swapoff to disable it. "
    "The kernel parameter vm.swappiness controls how eagerly pages are moved out; its default is 60.",
    "cron": "The cron daemon runs scheduled commands. User tables are edited with crontab -e and are kept in /var/spool/cron/crontabs. "
    "Each line has five time fields followed by the command. System-wide jobs live in /etc/cron.d and have a user name as the sixth field. "
    "Output of a job is mailed to its owner unless MAILTO is set to an empty string.",
    "refund": "Customers may return a product within 30 days of delivery for a full refund. Software licences cannot be refunded once the "
    "key has been activated. Shipping costs are not reimbursed unless it was defective. Refunds are paid within five working days.",
    "utf8": "UTF-8 encodes each Unicode code point in one to four bytes. ASCII characters keep their single byte, so existing ASCII files "
    "are valid UTF-8. The locale is chosen by the LANG variable, for example en_US.UTF-8. Chinese characters usually need three bytes.",
    "raid": "RAID 1 mirrors data on two disks and survives the failure of one of them. RAID 5 needs at least three disks and stores parity "
    "across all of them. RAID is no replacement for backups, since deleted files disappear from every disk at once. "
    "Arrays are managed with mdadm, whose configuration is in /etc/mdadm/mdadm.conf.",
}


class Pair(NamedTuple):
    passage: str
    sentence: str
    holds: bool
    near: float = 0.0


SAME_LANGUAGE = [
    Pair("apt", "安装软件之前，应先用 apt update 更新软件包列表。", True),
    Pair("apt", "apt 会从 sources.list 里列出的软件源下载软件包。", True),
    Pair("apt", "下载下来的软件包文件保存在 /var/cache/apt/archives 中。", True),
    Pair("apt", "apt full-upgrade 用来升级整个系统，必要时会删除有冲突的软件包。", True),
    Pair("apt", "安装之前不应执行 apt update 更新软件包列表。", False),
    Pair("apt", "下载的文件保存在 /var/lib/dpkg 目录。", False),
    Pair("apt", "aptitude 提供了一个全屏的文本界面，可以浏览软件包。", False),
    Pair("apt", "软件包的签名由 GnuPG 验证，密钥过期会导致更新失败。", False),
    Pair("leave", "请假三天以内的，由辅导员审批。", True),
    Pair("leave", "请假超过 7 天必须报教务处备案。", True),
    Pair("leave", "请病假需要附上医院的诊断证明。", True),
    Pair("leave", "累计旷课 50 学时会被退学。", True),
    Pair("leave", "请假五天以内由辅导员审批。", False),
    Pair("leave", "累计旷课达到 30 学时的给予退学处分。", False),
    Pair("leave", "研究生请假须由导师签字同意后提交研究生院。", False),
    Pair("leave", "奖学金的评定以上一学年的成绩为准。", False),
    Pair("ssh", "SSH 的默认端口是 22。", True),
    Pair("ssh", "把 PermitRootLogin 设为 no 可以禁止 root 直接登录。", True),
    Pair("ssh", "公钥认证比口令认证安全。", True),
    Pair("ssh", "修改配置之后要重启 sshd 服务。", True),
    Pair("ssh", "SSH 的默认端口是 2222。", False),
    Pair("ssh", "把 AllowUsers 设为 admin 可以限制登录的用户。", False),
    Pair("ssh", "口令认证失败三次以后，服务器会封锁该地址。", False),
    Pair("fund", "国家级项目的资助经费是 20,000 元。", True),
    Pair("fund", "立项后先拨付 60% 的经费，其余在中期检查合格后拨付。", True),
    Pair("fund", "项目执行期一般不超过 2 年。", True),
    Pair("fund", "市级项目资助 15000 元。", False),
    Pair("fund", "经费可以用于支付劳务费。", False),
    Pair("fund", "项目负责人必须是大二以上的在校本科生。", False),
    Pair("file", "符号链接在原文件被删除后会失效。", True),
    Pair("file", "硬链接和原文件共享同一个 inode，因此不能跨文件系统。", True),
    Pair("file", "硬链接可以跨越文件系统。", False),
    Pair("file", "用 chmod 可以修改文件的访问权限。", False),
    Pair("swap", "On a desktop with 8 GB of RAM, a 4 GB swap partition is usually enough.", True),
    Pair("swap", "You can enable a swap area with `swapon` and disable it with `swapoff`.", True),
    Pair("swap", "The default of vm.swappiness is 60.", True),
    Pair("swap", "To hibernate, the swap must be at least as large as the used memory.", True),
    Pair("swap", "The default value of vm.swappiness is 10.", False),
    Pair("swap", "A swap partition of 16 GB is usually enough for a desktop.", False),
    Pair("swap", "Zram compresses pages in memory and avoids disk access.", False),
    Pair("cron", "System-wide jobs are placed in /etc/cron.d and name the user in the sixth field.", True),
    Pair("cron", "Users edit their tables with crontab -e.", True),
    Pair("cron", "Setting MAILTO to an empty string stops the mail about a job's output.", True),
    Pair("cron", "Each line has six time fields followed by the command.", False),
    Pair("cron", "Anacron runs jobs that were missed while the machine was off.", False),
    Pair("cron", "Jobs can be paused with systemctl mask.", False),
    Pair("refund", "Products can be returned within 30 days after delivery for a full refund.", True),
    Pair("refund", "Refunds are paid within 5 working days.", True),
    Pair("refund", "A software licence is not refundable after its key was activated.", True),
    Pair("refund", "Products can be returned within 60 days of delivery.", False),
    Pair("refund", "Software licences can be refunded once the key has been activated.", False),
    Pair("refund", "Gift cards are valid for a year and can be used in every shop.", False),
    Pair("utf8", "Most Chinese characters take three bytes in UTF-8.", True),
    Pair("utf8", "Every ASCII file is also valid UTF-8.", True),
    Pair("utf8", "UTF-16 uses surrogate pairs for characters outside the basic plane.", False),
    Pair("raid", "RAID 5 requires three disks or more.", True),
    Pair("raid", "RAID does not replace backups.", True),
    Pair("raid", "RAID 6 survives the failure of two disks.", False),
    Pair("raid", "RAID is a replacement for backups, since files are on every disk.", False),
    Pair("raid", "Snapshots of a logical volume are created with lvcreate.", False),
]
ACROSS = [
    Pair("apt", "Run apt update to refresh the package list before you install anything.", True, 0.61),
    Pair("apt", "Downloaded packages are kept in /var/cache/apt/archives.", True, 0.54),
    Pair("apt", "A full upgrade may remove conflicting packages.", True, 0.399),
    Pair("apt", "Packages are signed by the maintainers with their own keys.", False, 0.08),
    Pair("leave", "A leave of more than 7 days must be reported to the academic affairs office.", True, 0.53),
    Pair("leave", "Sick leave needs a medical certificate from a hospital.", True, 0.52),
    Pair("leave", "Scholarships are awarded by the grades of the last year.", False, 0.33),
    Pair("leave", "Students can borrow up to 10 books from the library.", False, 0.34),
    Pair("ssh", "Public key authentication is more secure than passwords.", True, 0.396),
    Pair("ssh", "SSH listens on port 22 by default.", True, 0.62),
    Pair("ssh", "SSH listens on port 8022 by default.", False, 0.53),
    Pair("ssh", "The firewall should drop packets from unknown networks.", False, 0.16),
    Pair("file", "A symbolic link breaks when its target is deleted.", True, 0.45),
    Pair("file", "File permissions decide who may read and write.", False, 0.18),
    Pair("fund", "The money is paid in two parts, 60% of it after approval.", True, 0.55),
    Pair("fund", "Applicants must present their project to a jury in person.", False, 0.33),
    Pair("swap", "8 GB 内存的桌面电脑，4 GB 的交换分区通常就够了。", True, 0.64),
    Pair("swap", "休眠要求交换空间不小于已使用的内存。", True, 0.35),
    Pair("swap", "内核参数 vm.swappiness 的默认值是 100。", False, 0.48),
    Pair("swap", "内存条应当成对安装才能启用双通道。", False, 0.27),
    Pair("cron", "用户的定时任务用 crontab -e 编辑。", True, 0.55),
    Pair("cron", "把 MAILTO 设为空字符串，任务的输出就不会以邮件发出。", True, 0.51),
    Pair("cron", "邮件服务器需要打开 25 端口。", False, 0.27),
    Pair("refund", "商品送达后 30 天内可以全额退款。", True, 0.67),
    Pair("refund", "密钥激活之后，软件许可证不能退款。", True, 0.51),
    Pair("refund", "会员购物可以享受九折优惠。", False, 0.39),
    Pair("utf8", "一个汉字通常需要三个字节。", True, 0.51),
    Pair("utf8", "输入法可以用 Ctrl+空格 切换。", False, 0.33),
    Pair("raid", "RAID 不能代替备份，因为被删除的文件会同时从所有磁盘上消失。", True, 0.66),
    Pair("raid", "RAID 5 至少需要三块磁盘。", True, 0.62),
    Pair("raid", "固态硬盘应定期执行 fstrim。", False, 0.24),
]


def found(pair: Pair) -> Found:
    return Found(text={**ZH, **EN}[pair.passage])


def judged(pair: Pair) -> bool:
    passage = found(pair)
    if not across_languages(pair.sentence, passage):
        return bool(support(pair.sentence, passage))
    return bool(support(pair.sentence, passage, [pair.near] + [0.0] * (len(parts_of(passage)) - 1)))


@pytest.mark.parametrize("pair", SAME_LANGUAGE, ids=lambda pair: pair.sentence[:30])
def test_in_one_language_every_pair_is_judged_rightly(pair: Pair) -> None:
    assert judged(pair) == pair.holds


# Too far away in the model's eyes although they hold: their references are dropped, which is the lesser evil.
MISSED = {
    "A full upgrade may remove conflicting packages.",
    "Public key authentication is more secure than passwords.",
    "休眠要求交换空间不小于已使用的内存。",
}


@pytest.mark.parametrize("pair", ACROSS, ids=lambda pair: pair.sentence[:30])
def test_across_languages_nothing_false_is_taken(pair: Pair) -> None:
    assert across_languages(pair.sentence, found(pair))
    assert judged(pair) == (pair.holds and pair.sentence not in MISSED)


def test_no_sentence_is_supported_by_another_passage_of_its_language() -> None:
    asked = 0
    for pair in [*SAME_LANGUAGE, *ACROSS]:
        for name, text in {**ZH, **EN}.items():
            passage = Found(text=text)
            if name != pair.passage and not across_languages(pair.sentence, passage):
                asked += 1
                assert not support(pair.sentence, passage), (pair.sentence, name)
    assert asked > 300


@pytest.mark.parametrize("pair", [*SAME_LANGUAGE, *ACROSS], ids=lambda pair: pair.sentence[:30])
def test_a_quote_stands_in_the_passage(pair: Pair) -> None:
    passage = found(pair)
    verdict = support(pair.sentence, passage, [0.9] * len(parts_of(passage)) if across_languages(pair.sentence, passage) else None)
    assert verdict.quote in passage.text
    assert bool(verdict) == bool(verdict.quote) != bool(verdict.why)
