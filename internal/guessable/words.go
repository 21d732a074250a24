package guessable

// frequent are words that people make keys of, with those that join them.
const frequent = `secret key password pass passwd pwd change changeme me my your our the a an this is not it to be
for in of on at and or with admin root user test testing tests dev development prod production demo example sample
default app application web site server session sessions cookie token jwt auth hash salt sign signing signature
super very really long some any random string insert replace here please do use set never guess hard easy only no
one two three four five six seven eight nine ten zero by value text data base bit bits byte bytes char chars
characters character letters word words phrase hello world foo bar baz qux let i you love qwerty azerty abc keys
private public master login secure security unsafe insecure safe safely placeholder todo fixme temp tmp local
localhost null none undefined nil true false`

// words are other words, names, and pieces of keyboards and numbers.
const words = `about above access account across action active actually address after again against age ago air all
almost alone along already also always among animal another answer anybody anyone anything apple are area around art
as ask author authors away baby back bad ball banana bank baseball basic bat batman battery beach bear beautiful
because become bed been beef before begin behind being believe below best better between big bird birthday black
blue board body book born both box boy brand bread break bridge bring broken brother brown build building business
but buy cache cafe call called can candy cannot car card care case cat cats cause center certain charlie cheese
child children choose christmas city class clean clear client clock close cloud club code coffee cold college color
come command common company complete complex computer config configuration connect content control cool copy correct
could country create created crypto cup current customer daily dark database date day days dead death decode deep
delete demand deploy design details did different digital dirty django docker doctor document dog dogs does done
dont door down dragon dream drive drop each early earth eat edit either elephant else email empty encode encoding
encrypted encryption end engine enough enter environment equal error escape even evening event ever every everybody
everyone everything exactly except express external eye face facebook fact fake fall family far fast fastapi father
feed feel field fight file files final find fine fire first fish flag flask flower fly follow food foobar foot
football force forever forget form format forty found framework free freedom friend friends from front full function
funny future game garden gateway general generate generated german get girl give global go goat god gold golang gone
good google great green ground group guest had hair half hand handle happy has have he head health heart heat heavy
held help her hidden high hill him his hold holiday home hope horse host hot hour house how however human hundred
ice id idea if important inside instead install integration internal internet into iphone island issue its itself
java javascript jesus job john join json jump just keep keyboard kid kill kind king kitten knight know known koa
lady land language laravel large last late later laugh lazy leave left legit length less letmein letter level lib
library life light like line linux list listen little live lock log logger look lorem ipsum lost lot lucky lunch
machine magic mail main make man manager many map march match matter may maybe mean message michael middleware might
million mind minimum minute mode model modern module moment money monkey month moon more morning most mother
mountain move movie much music must mysql name near need net network new news next nice night nobody node nodejs
normal north note nothing now number oauth object ocean off office often oil old once online open option orange
order other out over overwrite own package page paper parameter parent part party passphrase passport path peace
people perfect permit person phone php pick picture pizza place plain plan planet platform play player point pony
port postgres power present pretty prince princess print problem process profile program project protect protected
provide purple put python question quick quiet quite rabbit rails rain ranger read ready real red redis redacted
refresh release remember remove request required reset response rest result return rich right river road robot rock
rocket room rotate round row ruby run same sand save say school sea search season second see seem self send sense
sensitive sentence serious service settings several shadow share sharing shared she ship shop short should show
silver simple since sing single sister sit sky sleep slow small smile snow so social software soldier something
sometimes son song soon sound source south space special spring sql square stage staging standard staple star start
state stay step still stone stop store storm story strawberry street strong student stuff stupid such sugar summer
sun sunday sunshine superman sure sweet system table take talk tango tea team tell template terrible than thank that
their them then there these they thing things think third thousand through throw thunder ticket tiger time times
today together tomorrow tonight too top total touch town train tree trust trustno try trying turn tutorial twelve
twenty twice type under unicorn unique university unknown unless until up update upon url used username using utf
valid validation variable vault verify version view vim voice wait walk wall want war warm was watch water way we
weak weather week welcome well were west what whatever wheel when where whether which while white who whole whose
why wild will win wind window windows winter wish within without wolf woman wonder wonderful wood work worker would
write wrong year years yellow yes yesterday yet york young yourself zone zombie january february april june july
august september october november december monday tuesday wednesday thursday friday saturday alpha bravo delta echo
foxtrot hotel india juliet lima mike oscar papa quebec romeo sierra uniform victor whiskey zulu alice bob carol dave
eve mallory peter paul mary james robert david daniel thomas andrew jessica ashley jennifer amanda nicole matthew
joshua anthony william steven kevin brian george maria anna laura sarah susan linda max chris alex sam geheim
geheimer geheimes schluessel passwort mein dein ist das ein nicht sicher clave secreta secreto contrasena segura
senha segredo chave motdepasse mot de passe cle secrete parola segreta chiave wachtwoord sleutel haslo klucz parol
heslo babe deadbeef cafebabe c0ffee f00d b00b fade decade facade deface chocolate cookies secrets passwords keyring
keychain tokens hmac hs256 hs512 aes aes256 sha256 sha1 md5 base64 hex hex32 rsa bearer csrf xsrf ssl tls http https
www com org io api apikey kubernetes helm terraform aws azure heroku github gitlab gitea jenkins boot springboot
symfony nest nextauth nuxt vue react angular svelte gin fiber gorilla hipflask 31415926535897932384626433832795
3141592653589793 314159265358979 31415926 14159265 271828182845904523536 2718281828459045 27182818 1618033988749
141421356237 1qaz2wsx qazwsx qwer asdf zxcv qwert asdfg zxcvb qwertz hjkl sat mat
africa asia australia berlin boston brazil canada chicago china dallas dublin england europe france germany houston
india ireland italy japan korea london madrid mexico moscow munich paris poland russia spain sweden texas
tokyo turkey vienna
arsenal barcelona chelsea liverpool manchester olympics united car bike bus train plane ship road mustang camaro ferrari
porsche toyota honda volkswagen golf nike adidas puma pepsi cola samsung galaxy iphone nokia sony panasonic intel amd
lego disney mickey pikachu pokemon mario zelda minecraft gandalf frodo hobbit matrix terminator avatar stark wayne
enterprises industries holding limited partners consulting beer wine pizza burger cheese bread sugar whisky vodka
guinness lion bear wolf rabbit mouse elephant giraffe horse zebra penguin dolphin slayer hacker hackers nobody guess
administrator infinity beyond forever tomorrow yesterday hakuna matata jesus heaven paradise wedding married born
redis postgres mysql mongo 127 localhost coming badf00d 8badf00d baadf00d feedface`

// columns are pieces of keyboards: columns downwards, upwards and leaning to the left, blocks, and the block of digits.
const columns = `1qaz 2wsx 3edc 4rfv 5tgb 6yhn 7ujm 8ik 9ol 0p qaz wsx edc rfv tgb yhn ujm zaq xsw cde vfr bgt nhy mju
0okm 9ijn 8uhb 7ygv 6tfc 5rdx 4esz okm ijn uhb ygv tfc rdx esz plm okn ijb uhv ygc tfx qwe asd zxc rty fgh vbn uio jkl
147 258 369 159 357 741 852 963 951 753 789 456 123 321 654 987`

// pairs has the costs, in quarters of a bit from '0' on, of a letter after another one in English texts about software.
// The first row is for the first letter of a word, the others are for what follows a to z.
const pairs = "" +
	"@B>BBBDDALMECBDASA?@FIEQQS" +
	"LC@@KIEUETI=B=YD]=@;HINNIV" +
	"=EDE:EUV?EV<QU@P_CDM>WXX@^" +
	"=JFJ=KQ>DR@COU9LWCJ>EQX^N]" +
	"?GG@6GMM=SWFNL?NVECMCOQXK\\" +
	"AK@>FFKQLGRCD=NFK;=AOHKDKY" +
	">FEE==YT:`ZBQP<S`ACFB`[^G`" +
	"CQFR9OGA:UXFKA>L[@AGBQT`LQ" +
	":ZTS8UXU>`SPJP?R^CM<>\\S`O]" +
	"FIADDEDTWWPAC8?GZF?<TF`KXH" +
	">WVU;V]WBRTSUV?Q`W4VB[N_\\`" +
	"?JKH6LJH<RPIKDDFTI>IEWL[HZ" +
	"?LPD9NPS;]S;PR=N^QCEDLQ`A]" +
	":EOJ9TXX<SQI?S?>[TEODLX\\M`" +
	"AR@>>I<SBUJKNF=MYR>;HIT`LV" +
	"KGB>NEISJUJC>:FC`;DBAFETQV" +
	"<ULJ<SOIB`Q@MU>C`<>@@SW]J`" +
	"TNOKR[XUIW`FSQUSPHLN1ZMYYV" +
	">PFG8JHU=_HIFE=P`CAAFIQ`E_" +
	"CSCN9NRB>`JHKLACSL?9BUM[EV" +
	"?TIN:NS<;`VINR?C_?AAFYNTEX" +
	"F>DJAFH\\BZT=B<OA\\=>>ZR_RUT" +
	":SMQ4RTY=`\\RKUCFURIPNURKYZ" +
	";OLM<QO=:`ULPB>K\\=BNOXKWY`" +
	"@G@I=ESL>`XLHOH:\\LI8LQSHHY" +
	"@GFMANNOC]RCB>B9\\E<>IQK\\QQ" +
	";VPQ4XXB>\\VEOPCO^SMQLXQREG"
